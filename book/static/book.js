// Filters the long tables: a box for words and a choice of how a row is met. Without scripts, all rows show.
document.addEventListener("DOMContentLoaded", () => {
  const filter = document.querySelector("#filter");
  if (!filter) return;
  const words = filter.querySelector("input"), how = filter.querySelector("select");
  const told = filter.querySelector("output"), rows = [...document.querySelectorAll("tr[data-how]")];
  const update = () => {
    const wanted = words.value.toLowerCase();
    const shown = rows.filter(row => {
      row.hidden = !(row.textContent.toLowerCase().includes(wanted) && [row.dataset.how, ""].includes(how.value));
      return !row.hidden;
    });
    told.textContent = `${shown.length} of ${rows.length}`;
  };
  filter.hidden = false;
  words.oninput = how.onchange = update;
  update();
});
