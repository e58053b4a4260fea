// Where the clip's player stands. Its events do not bubble, so they are caught on the way down.
const tell = (event) => {
  if (!event.target.closest || !event.target.closest('#clip')) return;
  props.value = event.target.currentTime;
  if (event.type !== 'timeupdate') trigger('input');
};
for (const type of ['timeupdate', 'seeked', 'pause']) document.addEventListener(type, tell, true);
