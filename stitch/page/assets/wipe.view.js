// value: {video, views: [{name, left, right}], shown, labels: [left, right], offset_s}: the left side lies under the right one.
const view = value.views.find((one) => one.name === value.shown) || value.views[0];
const side = (where, source) => value.video
  ? `<video class="${where}" src="${esc(source)}" playsinline muted ${where === 'right' ? 'loop' : ''} preload="auto"
      aria-label="${esc(value.labels[where === 'right' ? 1 : 0])}" tabindex="-1"></video>`
  : `<img class="${where}" src="${esc(source)}" alt="${esc(value.labels[where === 'right' ? 1 : 0])}" draggable="false">`;
const tabs = value.views.length < 2 ? '' : value.views.map((one) => `<button type="button" data-view="${esc(one.name)}"
  aria-pressed="${one === view}">${esc(one.name)}</button>`).join('');
const player = !value.video ? '' : `<button type="button" data-play="">Play / pause</button>
  <input class="seek" type="range" min="0" max="1" step="any" value="0" aria-label="Position in the result">
  <button type="button" data-sound="">Sound</button>`;
return `<div class="wipe"><div class="frame">${side('right', view.right)}${side('left', view.left)}
  <span class="tag">${esc(value.labels[0])}</span><span class="tag">${esc(value.labels[1])}</span>
  <input class="divider" type="range" min="0" max="100" value="50"
    aria-label="Divider between ${esc(value.labels[0])} and ${esc(value.labels[1])}"></div>
  <div class="controls">${tabs}${player}</div></div>`;
