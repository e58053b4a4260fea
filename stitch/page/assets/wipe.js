const find = (what) => element.querySelector(what);
const divide = (at) => { element.style.setProperty('--at', at); find('.divider').value = at; };
element.addEventListener('input', (event) => {
  if (event.target.matches('.divider')) divide(event.target.value);
  const video = find('video.right');
  if (event.target.matches('.seek') && video) video.currentTime = event.target.value * (video.duration || 0);
});
const drag = (event) => {
  const frame = event.target.closest('.frame');
  if (!frame || event.target.matches('.divider') || !(event.buttons & 1)) return;
  const box = frame.getBoundingClientRect();
  divide(Math.max(0, Math.min(100, 100 * (event.clientX - box.left) / box.width)));
};
element.addEventListener('pointerdown', drag);
element.addEventListener('pointermove', drag);
element.addEventListener('click', (event) => {
  const video = find('video.right');
  const button = event.target.closest('button');
  if (!button) return;
  if (button.dataset.view) props.value = {...props.value, shown: button.dataset.view};
  if ('play' in button.dataset) { if (video.paused) video.play(); else video.pause(); }
  if ('sound' in button.dataset) { video.muted = !video.muted; button.setAttribute('aria-pressed', !video.muted); }
});
// The left video follows the right one; it may be the whole clip, of which the right one is a part.
const follow = () => {
  const right = find('video.right'), left = find('video.left');
  if (right && left && left.readyState) {
    const wanted = right.currentTime + (props.value.offset_s || 0);
    if (Math.abs(left.currentTime - wanted) > (right.paused ? 0.01 : 0.08)) left.currentTime = wanted;
    if (right.paused !== left.paused) { if (right.paused) left.pause(); else left.play().catch(() => {}); }
  }
  if (right && right.duration && document.activeElement !== find('.seek')) find('.seek').value = right.currentTime / right.duration;
};
for (const type of ['timeupdate', 'seeked', 'play', 'pause', 'loadeddata']) element.addEventListener(type, follow, true);
// The frame is as wide as the picture is, so that the divider crosses all of it and nothing else.
const shape = (event) => {
  const width = event.target.videoWidth || event.target.naturalWidth, height = event.target.videoHeight || event.target.naturalHeight;
  if (width && height) element.style.setProperty('--shape', width / height);
};
element.addEventListener('load', shape, true);
element.addEventListener('loadedmetadata', shape, true);
for (const one of element.querySelectorAll('img, video')) shape({target: one});
element.addEventListener('loadeddata', (event) => {
  const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
  if (event.target.matches('.right') && !still) event.target.play().catch(() => {});
}, true);
element.style.setProperty('--at', 50);
