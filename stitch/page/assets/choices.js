element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-id]');
  if (button) trigger('select', {id: button.dataset.id});
});
