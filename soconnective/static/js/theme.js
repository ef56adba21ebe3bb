// Runs before the first paint: follows the system unless a theme was chosen.
"use strict";
window.applyTheme = (choice) => {
  const dark = choice === "dark" || (choice !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.bsTheme = dark ? "dark" : "light";
  for (const button of document.querySelectorAll("[data-theme-choice]")) {
    button.setAttribute("aria-pressed", String(button.dataset.themeChoice === choice));
  }
};
window.applyTheme(document.documentElement.dataset.theme);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => window.applyTheme(document.documentElement.dataset.theme));
