/* Tables sort by a click on a header: numbers as numbers, cells without a value last. */
'use strict';
for (const table of document.querySelectorAll('table.sorts')) {
  const headers = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const value = (row, i, numeric) => {
    const cell = row.cells[i], text = cell.dataset.v ?? cell.textContent;
    return !numeric ? text : text === '–' ? '' : Number(text);
  };
  headers.forEach((header, i) => {
    const button = document.createElement('button'), numeric = header.className === 'n';
    button.type = 'button';
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener('click', () => {
      const up = header.getAttribute('aria-sort') !== 'ascending';
      for (const other of headers) other.removeAttribute('aria-sort');
      header.setAttribute('aria-sort', up ? 'ascending' : 'descending');
      const rows = [...body.rows].map((row) => [value(row, i, numeric), row]);
      rows.sort(([a], [b]) => a === b ? 0 : a === '' ? 1 : b === '' ? -1 : (a < b) === up ? -1 : 1);
      body.append(...rows.map(([, row]) => row));
    });
  });
}
