// value: what there is to say; every part may be missing.
const list = (items, one) => (items || []).map(one).join('');
const line = value.title || value.said ? `<div class="line"><b>${esc(value.title)}</b><span>${esc(value.said)}</span></div>` : '';
const bar = value.share == null ? '' : `<div class="bar" role="progressbar" aria-label="${esc(value.title)}"
  aria-valuenow="${Math.round(100 * value.share)}"><i style="width:${(100 * value.share).toFixed(1)}%"></i></div>`;
const stages = !value.stages ? '' : `<ol class="stages">${list(value.stages, ([name, state]) => `<li class="${state}">${esc(name)}</li>`)}</ol>`;
const figures = !value.figures ? '' : `<dl class="figures">${list(value.figures, (one) => `<div><dt>${esc(one.name)}</dt>
  <dd><b class="${esc(one.verdict)}">${esc(one.verdict)}</b> <small>${esc(one.hint)}</small></dd></div>`)}</dl>`;
const chips = !value.chips ? '' : `<div class="facts">${list(value.chips, (one) => `<span>${esc(one)}</span>`)}</div>`;
const rows = !value.rows ? '' : `<dl class="rows">${list(value.rows, ([name, said]) => `<dt>${esc(name)}</dt><dd>${esc(said)}</dd>`)}</dl>`;
const strip = !value.pictures || !value.pictures.length ? '' : `<p class="hint">${esc(value.heading)}</p><div class="strip">
  ${list(value.pictures, (one) => `<figure><img src="${esc(one.picture)}" alt="${esc(one.label)}"><figcaption>${esc(one.label)}</figcaption></figure>`)}</div>`;
const links = !value.links ? '' : `<ul class="links">${list(value.links, (one) => `<li><a href="${esc(one.url)}" download>${esc(one.name)}</a></li>`)}</ul>`;
const notes = list(value.notes, (one) => `<small>${esc(one)}</small>`);
const body = line + bar + figures + (line ? notes : '');
return stages + chips + (value.text ? `<p class="said">${esc(value.text)}</p>` : '')
  + (body ? `<div class="status ${value.problem ? 'problem' : ''}" role="${value.problem ? 'alert' : 'status'}">${body}</div>` : '')
  + rows + strip + links + (line ? '' : `<div class="notes">${notes}</div>`);
