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

// What is empty does not stand in a list's address.
document.addEventListener("formdata", (event) => {
  if (!event.target.matches("form.toolbar")) return;
  for (const name of new Set(event.formData.keys())) {
    const said = event.formData.getAll(name).filter((value) => value !== "");
    event.formData.delete(name);
    for (const value of said) event.formData.append(name, value);
  }
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

// Long lists of records: a box above them finds rows by their words, beyond those that the page holds.
async function find(url, words) {
  const answer = await fetch(`${url}?q=${encodeURIComponent(words)}`, { headers: { Accept: "application/json" } });
  return answer.ok ? answer.json() : [];
}

function addOption(list, id, title) {
  if (list.matches("select")) {
    if (![...list.options].some((option) => option.value === String(id))) list.add(new Option(title, id));
    return;
  }
  if (list.querySelector(`input[value="${id}"]`)) return;
  const label = document.createElement("label");
  label.className = "form-check";
  const box = Object.assign(document.createElement("input"), { type: "checkbox", className: "form-check-input", name: list.dataset.name, value: id });
  const text = document.createElement("span");
  text.textContent = title;
  label.append(box, text);
  list.append(label);
}

function show(list, words, found) {
  const wanted = new Set(found.map(([id]) => String(id)));
  if (list.matches("select")) {
    for (const option of list.options) option.hidden = Boolean(words) && option.value !== "" && !option.selected && !wanted.has(option.value);
    if (words && found.length === 1) list.value = String(found[0][0]);
    return;
  }
  for (const label of list.querySelectorAll("label")) {
    const box = label.querySelector("input");
    label.hidden = Boolean(words) && !box.checked && !wanted.has(box.value);
  }
}

function addFinder(list) {
  if (list.dataset.ready || (!list.matches("select") && list.children.length < 8)) return;
  list.dataset.ready = "yes";
  const box = Object.assign(document.createElement("input"), { type: "search", className: "form-control finder", placeholder: "Find by the first letters", maxLength: 100 });
  box.setAttribute("aria-label", `Find: ${list.dataset.label}`);
  box.setAttribute("autocomplete", "off");
  list.before(box);
  let waiting;
  box.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      const words = box.value.trim();
      const found = words ? await find(list.dataset.find, words) : [];
      for (const [id, title] of found) addOption(list, id, title);
      show(list, words, found);
    }, 200);
  });
  box.addEventListener("keydown", (event) => { if (event.key === "Enter") event.preventDefault(); });
}

// Fields that only count when another one says so: data-only-when="assign_to=person".
function showDependents(root) {
  for (const field of root.querySelectorAll("[data-only-when]")) {
    const [name, value] = field.dataset.onlyWhen.split("=");
    const other = field.form?.elements[field.name.replace(/[^-]+$/, name)];
    if (other) field.closest(".form-grid > div").hidden = other.value !== value;
  }
}

// A picture that is wider than its card begins at its middle, where the rule begins; that of a run, where it stands.
function middle() {
  for (const box of document.querySelectorAll(".flow-scroll")) {
    if (box.dataset.ready) continue;
    box.dataset.ready = "yes";
    const place = box.querySelector(".is-failed, .is-waiting, .is-cancelled")?.getBoundingClientRect();
    const at = place ? place.left + place.width / 2 - box.getBoundingClientRect().left : box.scrollWidth / 2;
    box.scrollLeft = at - box.clientWidth / 2;
  }
}

// Marks in a list: how many there are, and all of the page at once.
function countMarked() {
  const form = document.getElementById("marked");
  if (!form) return;
  const boxes = [...document.querySelectorAll('input[form="marked"]')];
  const number = boxes.filter((box) => box.checked).length;
  form.querySelector("[data-marked]").textContent = number
    ? `${number} marked`
    : "Mark some, then run a rule on them.";
  form.querySelector("[type=submit]").disabled = !number;
  const all = form.querySelector("[data-mark-all]");
  all.hidden = boxes.length < 2;
  all.textContent = number === boxes.length ? "Mark none" : "Mark all on this page";
  all.onclick = () => {
    for (const box of boxes) box.checked = number !== boxes.length;
    countMarked();
  };
}
document.addEventListener("change", countMarked);

function enhance() {
  middle();
  const tab = document.querySelector(".view-tabs [aria-current]");
  if (tab) tab.parentElement.scrollLeft = tab.offsetLeft - tab.parentElement.clientWidth / 2 + tab.offsetWidth / 2;
  countMarked();
  document.querySelectorAll("[data-find]").forEach(addFinder);
  showDependents(document);
}
document.addEventListener("change", () => showDependents(document));
document.addEventListener("DOMContentLoaded", enhance);
document.addEventListener("htmx:after:swap", enhance);
if (document.readyState !== "loading") enhance();
