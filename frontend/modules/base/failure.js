/* A plain script, so that it runs where the modules cannot: says that the page did not start. */
"use strict";
(() => {
  const started = () => document.documentElement.dataset.started === "true";
  const tell = () => {
    const message = document.getElementById("failed");
    if (message && !started()) message.hidden = false;
  };
  // Loading errors do not bubble; capturing sees those of every script. An error after the start is not this script's business.
  addEventListener("error", () => setTimeout(tell), true);
  addEventListener("load", () => setTimeout(tell, 5000));
})();
