// value: {label, items: [{id, label, picture, note, pressed}]}; one button each, the chosen ones are pressed.
const items = value.items || [];
if (!items.length) return '';
return `<div class="choices ${items.some((one) => one.picture) ? 'pictures' : ''}" role="group" aria-label="${esc(value.label)}">`
  + (value.title ? `<p class="hint">${esc(value.title)}</p>` : '') + items.map((one) => `
  <button type="button" data-id="${esc(one.id)}" aria-pressed="${one.pressed ? 'true' : 'false'}">
    ${one.picture ? `<img src="${esc(one.picture)}" alt="">` : ''}
    <span>${esc(one.label)}</span>${one.note ? `<small>${esc(one.note)}</small>` : ''}
  </button>`).join('') + '</div>';
