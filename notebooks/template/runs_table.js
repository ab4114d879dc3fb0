// The list of runs: sorted by its heads, filtered by the form above it. Without it the table is plain.
(() => {
  const form = document.getElementById("runs-filter");
  const table = document.getElementById("runs-table");
  const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
  const said = form.querySelector("output");
  let order = "";

  const say = () => {
    const shown = rows.filter((row) => !row.hidden).length;
    said.value = `${shown} of ${rows.length} runs${order}`;
  };

  const filter = () => {
    const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const text = [...row.cells].filter((cell) => !cell.classList.contains("number"))
        .map((cell) => cell.textContent).join(" ").toLowerCase();
      const chosen = ["arm", "seed", "status"].every(
        (name) => !form.elements[name].value || form.elements[name].value === row.dataset[name]);
      row.hidden = !(chosen && words.every((word) => text.includes(word)));
    }
    say();
  };

  // what is missing stays last in both directions; equal rows keep their order
  const sort = (index, sign) => {
    const number = heads[index].classList.contains("number");
    const key = (row) => number ? row.cells[index].dataset.value : row.cells[index].textContent.trim();
    const compare = (a, b) => number ? Number(a) - Number(b) : a.localeCompare(b, "en", { numeric: true });
    body.append(...rows.toSorted((first, second) => {
      const a = key(first), b = key(second);
      if (a === "" || b === "") return (a === "") - (b === "");
      return sign * compare(a, b);
    }));
  };

  heads.forEach((head, index) => {
    if (head.tagName !== "TH") return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      sort(index, up ? 1 : -1);
      order = `, by ${button.textContent}, ${up ? "ascending" : "descending"}`;
      say();
    });
    head.replaceChildren(button);
  });
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  form.hidden = false;
  filter();
})();
