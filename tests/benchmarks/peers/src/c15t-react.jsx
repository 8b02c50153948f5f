import { ConsentBanner, ConsentDialog, ConsentManagerProvider } from "@c15t/react";
import { createElement } from "react";
import { createRoot } from "react-dom/client";
import "@c15t/react/styles.css";

const options = { mode: "offline", consentCategories: ["necessary", "measurement", "marketing", "functionality", "experience"] };
const place = document.body.appendChild(document.createElement("div"));
createRoot(place).render(
  createElement(ConsentManagerProvider, { options }, createElement(ConsentBanner), createElement(ConsentDialog)),
);
