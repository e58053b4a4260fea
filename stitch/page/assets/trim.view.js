// value: {begin, end, length, step}: one bar, two handles; the fill lies on the chosen part.
const share = (at) => (100 * at / value.length).toFixed(2);
const handle = (name, label, at) => `<input type="range" data-end="${name}" aria-label="${label}" min="0"
  max="${value.length}" step="${value.step}" value="${at}" aria-valuetext="${at.toFixed(2)} seconds">`;
return `<div class="trim"><p><span>Part to render</span>
  <output>${value.begin.toFixed(2)} s to ${value.end.toFixed(2)} s of ${value.length.toFixed(2)} s</output></p>
  <div class="track"><i style="left:${share(value.begin)}%;right:${(100 - share(value.end)).toFixed(2)}%"></i>
  ${handle('begin', 'Begins at, seconds', value.begin)}${handle('end', 'Ends at, seconds', value.end)}</div></div>`;
