// value: {label, items: [{id, label, picture, note, pressed, seek}]}; one button each, the chosen ones are pressed. One
// with `seek` takes the result's player to that second and tells nobody.
const items = value.items || [];
if (!items.length) return '';
return `<div class="choices ${items.some((one) => one.picture) ? 'pictures' : ''}" role="group" aria-label="${esc(value.label)}">`
  + (value.title ? `<p class="hint">${esc(value.title)}</p>` : '') + items.map((one) => `
  <button type="button" data-id="${esc(one.id)}" ${one.seek == null ? '' : `data-seek="${esc(one.seek)}"`} aria-pressed="${one.pressed ? 'true' : 'false'}">
    ${one.picture ? `<img src="${esc(one.picture)}" alt="">` : ''}
    <span>${esc(one.label)}</span>${one.note ? `<small>${esc(one.note)}</small>` : ''}
  </button>`).join('') + '</div>';
