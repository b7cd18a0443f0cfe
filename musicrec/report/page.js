// Without this script the page is complete. With it, a click or Enter on the head of a column sorts a table,
// and a box stops at the tab key only where there is more to scroll to.

const NUMBER = /[+-]?\d+(\.\d+)?/;

function sortable(table) {
  const body = table.tBodies[0];
  const heads = table.tHead ? [...table.tHead.rows].at(-1).cells : [];
  if (!body || body.rows.length < 2) return;
  for (const head of heads) {
    if (head.tagName !== "TH" || head.colSpan > 1) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sort(head, heads, body));
  }
}

function sort(head, heads, body) {
  const isRising = head.getAttribute("aria-sort") !== "ascending";
  for (const other of heads) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", isRising ? "ascending" : "descending");
  const rows = [...body.rows].map((row) => ({ row, value: row.cells[head.cellIndex] }));
  const isNumber = rows.some(({ value }) => value?.matches(".n, .figure"));
  for (const each of rows) each.value = isNumber ? number(each.value) : (each.value?.textContent.trim() ?? "");
  rows.sort((a, b) => compare(a.value, b.value, isRising ? 1 : -1));
  body.append(...rows.map(({ row }) => row));
}

// The first number of a cell, as it is printed: 1,234 or −0.5 or 81.0 ± 2; NaN if there is none.
function number(cell) {
  const text = cell?.textContent.replaceAll(",", "").replaceAll("−", "-").trim() ?? "";
  return Number.parseFloat(text.match(NUMBER)?.[0] ?? "NaN");
}

// What is missing comes last, either way.
function compare(a, b, sign) {
  const [isLastA, isLastB] = [a, b].map((value) => Number.isNaN(value) || value === "" || value === "–");
  if (isLastA || isLastB) return isLastA - isLastB;
  return sign * (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
}

function stopIfScrollable({ target }) {
  target.tabIndex = target.scrollWidth > target.clientWidth ? 0 : -1;
}

document.querySelectorAll("table").forEach(sortable);
const watch = new ResizeObserver((boxes) => boxes.forEach(stopIfScrollable));
document.querySelectorAll(".scroll, figure").forEach((box) => watch.observe(box));
