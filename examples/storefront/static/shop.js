// The page is rendered by the server: when a signed-in customer changes what it rests on, it is asked for anew.
document.addEventListener("consentaccount", () => {
  const { purpose } = document.body.dataset;
  const known = window.consent.allows(purpose);
  const main = document.querySelector("main");
  document.addEventListener("consentchange", () => {
    if (!purpose || window.consent.allows(purpose) === known) return;
    if (!known || main.hidden) return location.reload();
    // A no counts at once, and is on its way: the server would not know it yet. The next change says that it is recorded.
    main.hidden = true;
    setTimeout(() => location.reload(), 3000);
  });
});

// What she chose before she signed in comes along: the shop links the browser's subject to hers. Who chose nothing is no subject, and stays none.
document.querySelector(".who").addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.anonymous || !/\beu-consent=/.test(document.cookie)) return;
  event.preventDefault();
  form.anonymous.value = (await window.consent?.token().catch(() => "")) ?? "";
  form.submit();
});
