element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-id]');
  const player = button && button.dataset.seek && document.querySelector('#result video.right');
  if (player) {
    player.currentTime = Number(button.dataset.seek);
    player.scrollIntoView({block: 'center'});
  } else if (button) trigger('select', {id: button.dataset.id});
});
