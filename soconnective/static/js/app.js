// Small improvements over plain pages. Everything here has a way without script.
"use strict";

// Menus are <details>: close the others, on Escape, and on a click elsewhere.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.removeAttribute("open");
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.removeAttribute("open");
    menu.querySelector("summary")?.focus();
  }
  document.querySelector("dialog[open]")?.close();
});

// Keys: single letters, off while typing. Links carry data-key="g d".
let pressed = "";
let timer;
document.addEventListener("keydown", (event) => {
  const target = event.target;
  if (event.ctrlKey && event.key === "Enter" && target.form) {
    target.form.requestSubmit();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (target.closest("input, textarea, select, [contenteditable]")) return;
  if (localStorage.getItem("keys") === "off") return;
  if (event.key === "?") {
    document.getElementById("keys-help")?.showModal();
    return;
  }
  clearTimeout(timer);
  pressed = (pressed + " " + event.key).trim();
  timer = setTimeout(() => { pressed = ""; }, 900);
  const link = document.querySelector(`[data-key="${CSS.escape(pressed)}"]`);
  if (!link) {
    if (!["g", "n"].includes(pressed)) pressed = "";
    return;
  }
  event.preventDefault();
  pressed = "";
  if (link.matches("input")) link.focus(); else link.click();
});
document.addEventListener("click", (event) => {
  if (event.target.closest("[data-close-dialog]")) event.target.closest("dialog").close();
});

// Selects that filter at once.
document.addEventListener("change", (event) => {
  const field = event.target.closest("[data-autosubmit]");
  if (field) field.form.requestSubmit();
});

// Copy a link.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  source.select?.();
  await navigator.clipboard?.writeText(source.value ?? source.textContent);
  button.querySelector("span").textContent = "Copied";
});

// Insert a merge field where the cursor is.
document.addEventListener("click", (event) => {
  const chip = event.target.closest("[data-insert]");
  if (!chip) return;
  const field = document.getElementById(chip.dataset.into);
  const text = chip.dataset.insert;
  const wasUsed = field.dataset.touched === "yes";
  const [from, to] = wasUsed ? [field.selectionStart, field.selectionEnd] : [field.value.length, field.value.length];
  field.setRangeText(text, from, to, "end");
  field.focus();
  field.dispatchEvent(new Event("change", { bubbles: true }));
});

document.addEventListener("focusin", (event) => {
  if (event.target.matches("input, textarea")) event.target.dataset.touched = "yes";
});

// Toasts can be put away.
document.addEventListener("click", (event) => {
  event.target.closest("[data-dismiss]")?.closest(".notice")?.remove();
});

// The theme switch: the server reads the cookie on the next page, this one changes at once.
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-theme-choice]");
  if (!button) return;
  document.cookie = `theme=${button.dataset.themeChoice}; path=/; max-age=31536000; samesite=lax`;
  window.applyTheme(button.dataset.themeChoice);
});

document.addEventListener("toggle", (event) => {
  if (event.target.id === "sidebar-menu") document.body.classList.toggle("menu-open", event.target.open);
}, true);
