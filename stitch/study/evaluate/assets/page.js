// Both clips play as one, the plots' cursors follow them, and a click on a plot or a frame goes there.
const { seconds, plots } = JSON.parse(document.getElementById("drawn").textContent);
const videos = [...document.querySelectorAll("video")];
const [play, seek, at] = ["play", "seek", "at"].map((id) => document.getElementById(id));
const still = matchMedia("(prefers-reduced-motion: reduce)");
const drawn = [];
let frame = 0;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function show(number) {
  frame = Math.max(0, Math.min(number, Number(seek.max)));
  seek.value = frame;
  at.textContent = `${(frame / RATE).toFixed(2)} s`;
  for (const plot of drawn) {
    plot.setCursor({ left: plot.valToPos(seconds[frame], "x"), top: 0 }, false);
    plot.setLegend({ idx: frame }, false);
  }
}

function go(number) {
  videos.forEach((video) => { video.pause(); video.currentTime = (number + 0.5) / RATE; });
  play.textContent = "Play";
  show(number);
}

function follow() {
  if (videos[0].paused) return;
  const [first, second] = videos;
  if (Math.abs(first.currentTime - second.currentTime) > 0.75 / RATE) second.currentTime = first.currentTime;
  show(Math.floor(first.currentTime * RATE + 0.01));
  requestAnimationFrame(follow);
}

function draw() {
  const place = document.getElementById("plots");
  if (!place) return;
  place.replaceChildren();
  drawn.length = 0;
  const boxes = plots.map(({ title, hint }) => {
    const box = place.appendChild(document.createElement("div"));
    box.className = "plot";
    box.appendChild(document.createElement("h3")).textContent = title;
    box.appendChild(document.createElement("p")).textContent = hint;
    return box;
  });
  for (const [number, { lines }] of plots.entries()) {
    const box = boxes[number];
    const values = lines.flatMap((line) => line.values).filter((value) => value !== null);
    const digits = Math.max(...values.map(Math.abs)) >= 10 ? 1 : Math.max(...values.map(Math.abs)) < 0.1 ? 4 : 3;
    const axis = { stroke: colour("--quiet"), font: "11px system-ui", ticks: { show: false }, gap: 6 };
    const low = Math.min(...values), high = Math.max(...values);
    const room = Math.max((high - low) * 0.12, Math.abs(high) * 0.004, 1e-6);
    drawn.push(new uPlot({
      width: box.clientWidth, height: 170, padding: [10, 10, 0, 0],
      cursor: { sync: { key: "moments" }, y: false, drag: { x: false, y: false }, points: { size: 7 } },
      scales: { x: { time: false }, y: { range: [low >= 0 && low - room < 0 ? 0 : low - room, high + room] } },
      axes: [{ ...axis, grid: { show: false }, size: 26, values: (_, all) => all.map((one) => `${+one.toFixed(2)} s`) },
        { ...axis, grid: { stroke: colour("--line"), width: 1 }, size: 52, space: 36 }],
      series: [{ label: "at", value: (_, one) => one === null ? "" : `${one.toFixed(2)} s` }, ...lines.map((line) => ({
        label: line.name, stroke: colour(line.quiet ? "--quiet" : "--thread"), width: line.quiet ? 1.25 : 2,
        points: { show: seconds.length < 12, size: 5 }, value: (_, one) => one === null ? "\u2013" : one.toFixed(digits),
      }))],
    }, [seconds, ...lines.map((line) => line.values)], box));
    const plot = drawn[number];
    plot.over.addEventListener("mouseleave", () => show(frame));
    plot.over.addEventListener("click", () => { if (plot.cursor.idx !== null) go(plot.cursor.idx); });
  }
  show(frame);
}

if (videos.length) {
  play.onclick = () => {
    if (!videos[0].paused) return go(frame);
    if (frame >= Number(seek.max)) go(0);
    videos[1].currentTime = videos[0].currentTime;
    videos.forEach((video) => video.play());
    play.textContent = "Pause";
    requestAnimationFrame(follow);
  };
  videos[0].onended = () => { play.textContent = "Play"; };
  seek.oninput = () => go(Number(seek.value));
  document.querySelectorAll("[data-frame]").forEach((button) => {
    button.onclick = () => {
      go(Number(button.dataset.frame));
      document.querySelector(".clips").scrollIntoView({ behavior: still.matches ? "auto" : "smooth" });
    };
  });
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; draw(); } });
}
