const moved = (event) => {
  const [begin, end] = [...element.querySelectorAll('input')].map((one) => Number(one.value));
  const step = Number(props.value.step);
  const next = event.target.dataset.end === 'begin'
    ? {begin: Math.max(0, Math.min(begin, end - step)), end}
    : {begin, end: Math.min(props.value.length, Math.max(end, begin + step))};
  event.target.value = next[event.target.dataset.end];  // a handle stops at the other one
  props.value = {...props.value, ...next};
};
element.addEventListener('input', moved);
element.addEventListener('change', (event) => { moved(event); trigger('release'); });
