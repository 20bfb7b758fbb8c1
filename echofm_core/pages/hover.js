// Values of a chart: of the point nearest to the pointer, or, with the focus on the chart, of the
// point that the arrow keys choose.
(() => {
  "use strict";
  const NEAR = 24; // pixels

  /** Points of a chart in document order: where they are, as shares of the picture, and in words. */
  const pointsOf = (panels) => {
    const points = [];
    for (const { title, box, x, y, lines } of panels) {
      const share = ({ limits, log }, value) => {
        const [low, high, here] = [...limits, value].map((number) => (log ? Math.log(number) : number));
        return (here - low) / (high - low);
      };
      for (const [name, xs, ys] of lines) {
        xs.forEach((value, index) => {
          const values = [[x.label, value], [y.label, ys[index]]].filter(([label]) => label);
          const words = values.map(([label, number]) => `${label} ${number}`).join(", ");
          points.push({
            left: box[0] + box[2] * share(x, value),
            top: box[1] + box[3] * (1 - share(y, ys[index])),
            words: `${[...new Set([title, name])].filter(Boolean).join(", ")}: ${words}`,
          });
        });
      }
    }
    return points;
  };

  const readable = (chart) => {
    const points = pointsOf(JSON.parse(chart.dataset.marks));
    const output = document.createElement("output");
    const ring = document.createElement("i");
    let chosen = -1;
    ring.hidden = true;
    chart.append(ring, output);
    chart.tabIndex = 0;
    chart.setAttribute("role", "group");
    chart.setAttribute("aria-label", "Chart; arrow keys go from value to value");

    const show = (index) => {
      chosen = index;
      const point = points[index];
      ring.hidden = !point;
      output.textContent = point?.words ?? "";
      if (!point) return;
      const side = point.left > 0.5 ? "right" : "left";
      const distance = 100 * (side === "left" ? point.left : 1 - point.left);
      Object.assign(output.style, { left: "", right: "", top: `calc(${100 * point.top}% + 12px)` });
      output.style[side] = `${Math.max(0, distance)}%`;
      Object.assign(ring.style, { left: `${100 * point.left}%`, top: `${100 * point.top}%` });
    };

    chart.addEventListener("pointermove", (event) => {
      const area = chart.getBoundingClientRect();
      let nearest = -1;
      let least = NEAR;
      points.forEach(({ left, top }, index) => {
        const across = event.clientX - area.left - left * area.width;
        const down = event.clientY - area.top - top * area.height;
        const distance = Math.hypot(across, down);
        if (distance < least) [nearest, least] = [index, distance];
      });
      if (nearest !== chosen) show(nearest);
    });
    for (const end of ["pointerleave", "blur"]) chart.addEventListener(end, () => show(-1));
    chart.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") show(-1);
      if (!step || !points.length) return;
      event.preventDefault();
      const first = step > 0 ? 0 : points.length - 1;
      show(chosen < 0 ? first : (chosen + step + points.length) % points.length);
    });
  };

  document.querySelectorAll("[data-marks]").forEach(readable);
})();
