// Both clips play as one, a line in the plots follows them, and a click on a plot or a frame goes there.
const videos = [...document.querySelectorAll("video")];
const [play, seek, at] = ["play", "seek", "at"].map((id) => document.getElementById(id));
const still = matchMedia("(prefers-reduced-motion: reduce)");
let frame = 0;

function show(number) {
  frame = Math.max(0, Math.min(number, Number(seek.max)));
  seek.value = frame;
  at.textContent = `${(frame / RATE).toFixed(2)} s`;
  document.body.style.setProperty("--now", frame / (LENGTH - 1));
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
  for (const plot of document.querySelectorAll(".js-plotly-plot")) {
    plot.on("plotly_click", ({ points }) => go(points[0].pointIndex));
  }
}
