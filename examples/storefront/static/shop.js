// The page is rendered by the server: when a signed-in customer changes what it rests on, it is asked for anew.
document.addEventListener("consentaccount", () => {
  const { purpose } = document.body.dataset;
  const known = window.consent.allows(purpose);
  document.addEventListener("consentchange", () => {
    if (purpose && window.consent.allows(purpose) !== known) location.reload();
  });
});
