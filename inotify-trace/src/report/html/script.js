"use strict";
// Sorting and filtering. Without it all rows are there, in the order that says most.
for (const box of document.querySelectorAll(".data")) {
  const body = box.querySelector("tbody");
  const rows = [...body.rows];
  const heads = [...box.querySelectorAll("th")];
  if (rows.length > 5) {
    const label = document.createElement("label");
    const input = document.createElement("input");
    const count = document.createElement("output");
    input.type = "search";
    label.className = "filter";
    label.append("Filter " + box.dataset.name.toLowerCase() + " ", input, " ", count);
    input.addEventListener("input", () => {
      const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !wanted.every((word) => text.includes(word));
        shown += row.hidden ? 0 : 1;
      }
      count.textContent = wanted.length ? shown + " of " + rows.length : "";
    });
    box.prepend(label);
  }
  heads.forEach((head, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const numbers = rows.some((row) => row.cells[at].dataset.v !== undefined);
      const was = head.getAttribute("aria-sort");
      // The most first, names from the beginning.
      const down = was ? was === "ascending" : numbers;
      const value = (row) => {
        const cell = row.cells[at];
        if (cell.className === "missing") return null;
        return numbers ? Number(cell.dataset.v) : cell.textContent;
      };
      const order = (a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === null || y === null) return (x === null) - (y === null);
        const sign = numbers ? x - y : x.localeCompare(y, undefined, { numeric: true });
        return down ? -sign : sign;
      };
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      body.append(...[...rows].sort(order));
    });
  });
}
