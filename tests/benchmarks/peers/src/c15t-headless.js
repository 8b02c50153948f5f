// The library without its interface, and the least interface that shows and answers: no dialog.
import { getOrCreateConsentRuntime } from "c15t";

const { consentStore } = getOrCreateConsentRuntime({
  mode: "offline",
  consentCategories: ["necessary", "measurement", "marketing", "functionality", "experience"],
});
const banner = document.createElement("section");
banner.id = "c15t-headless";
banner.setAttribute("aria-label", "Your choices");
banner.append("We use what you bought here and the pages you looked at. You can change your mind at any time.");
for (const [type, label] of [["necessary", "Refuse all"], ["all", "Accept all"]]) {
  const button = Object.assign(document.createElement("button"), { id: `c15t-${type}`, textContent: label });
  button.onclick = () => consentStore.getState().saveConsents(type);
  banner.append(button);
}
const show = ({ activeUI }) => (activeUI === "banner" ? document.body.append(banner) : banner.remove());
consentStore.subscribe(show);
show(consentStore.getState());
