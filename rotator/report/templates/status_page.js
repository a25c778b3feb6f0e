(() => {
  const find = document.getElementById("find");
  const shown = document.getElementById("shown");
  const rows = [...document.querySelectorAll("#pats tbody tr")];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const count = () => {
    const seen = rows.filter((row) => row.getClientRects().length).length;
    shown.textContent = `${seen} of ${rows.length} rows shown`;
  };
  if (find) {
    find.closest("[hidden]").hidden = false;
    find.addEventListener("input", () => {
      const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
      rows.forEach((row, number) => { row.hidden = !words.every((word) => texts[number].includes(word)); });
      count();
    });
    document.querySelectorAll(".filters input, .filters select").forEach((field) => field.addEventListener("change", count));
    count();
  }
  const loaded = performance.now();
  setInterval(() => {
    const minutes = Math.floor((performance.now() - loaded) / 60000);
    if (minutes) document.getElementById("age").textContent = `You loaded this page ${minutes} min ago. Load it again to see how things stand now.`;
  }, 20000);
})();
