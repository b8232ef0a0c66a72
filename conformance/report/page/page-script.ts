// What the page does where scripts run: an arrow opens its details in a dialog, the list of purposes is filtered.
// It makes no markup from data; it only moves what is there.

export const pageScript = `"use strict";
document.documentElement.classList.add("js");
const dialog = document.querySelector("dialog");
const title = dialog.querySelector("h2");
const body = dialog.querySelector(".dialog-body");
const show = (id) => {
  const found = document.getElementById(id);
  if (!found) return false;
  const copy = found.cloneNode(true);
  title.replaceChildren(...copy.querySelector(":scope > summary").childNodes);
  copy.querySelector(":scope > summary").remove();
  for (const each of copy.querySelectorAll("[id]")) each.removeAttribute("id");
  body.replaceChildren(...copy.childNodes);
  body.scrollTop = 0;
  if (!dialog.open) dialog.showModal();
  return true;
};
document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-opens]");
  if (link && !event.ctrlKey && !event.metaKey && show(link.dataset.opens)) event.preventDefault();
  if (event.target === dialog || event.target.closest("dialog button")) dialog.close();
});
const form = document.querySelector(".filter");
const entries = [...document.querySelectorAll("details.purpose")];
const filter = () => {
  const words = form.querySelector("[type=search]").value.toLowerCase().split(" ").filter(Boolean);
  const verdicts = new Set([...form.querySelectorAll(":checked")].map((box) => box.value));
  for (const each of entries)
    each.hidden = !verdicts.has(each.dataset.verdict) || !words.every((word) => each.dataset.words.includes(word));
};
form.addEventListener("input", filter);
form.addEventListener("submit", (event) => event.preventDefault());
`;
