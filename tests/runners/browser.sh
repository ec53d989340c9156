#!/bin/bash
# browser.sh PAGE WIDTH light|dark: opens a page in headless Chromium, in a frame of WIDTH pixels,
# and prints what a reader has there, "name<TAB>value" a line:
#   overflow N         pixels by which the page is wider than the frame
#   wide ELEMENT       an element that reaches beyond the frame, outside of what scrolls by itself
#   fetched URL        what the page asked for beside itself
#   background COLOUR
#   sorted T C ORDER   first cells of table T's rows after a click on the header of column C
#   console MESSAGE    an error of the script, or what the page's policy refused
# Exit status 77, with the reason, where there is no Chromium.
set -euo pipefail
page=$(realpath "$1") width=$2 scheme=$3
if ! command -v chromium >/dev/null; then
  echo 'chromium is not installed'
  exit 77
fi
scratch=$(mktemp -d)
trap 'rm -rf --one-file-system "$scratch"' EXIT

cat >"$scratch/frame.html" <<END
<!DOCTYPE html>
<meta charset="utf-8"><meta name="color-scheme" content="light dark">
<iframe src="file://$page" style="width: ${width}px; height: 800px; border: 0"></iframe>
<pre id="said"></pre>
<script>
const frame = document.querySelector('iframe');
const say = (...words) => document.querySelector('#said').append(words.join('\t') + '\n');
frame.addEventListener('load', () => {
  const view = frame.contentWindow, page = frame.contentDocument;
  say('overflow', page.documentElement.scrollWidth - $width);
  for (const e of page.body.querySelectorAll('*'))
    if (!e.closest('.scroll *, pre *, svg *') && e.getBoundingClientRect().right > $width + 0.5)
      say('wide', e.tagName, e.className);
  for (const entry of view.performance.getEntriesByType('resource')) say('fetched', entry.name);
  say('background', view.getComputedStyle(page.body).backgroundColor);
  page.querySelectorAll('table.sorts').forEach((table, t) => {
    [...table.tHead.rows[0].cells].forEach((header, c) => {
      for (let click = 0; click < 2; click++) {
        header.querySelector('button').click();
        const rows = [...table.tBodies[0].rows].map((row) => row.cells[0].textContent);
        say('sorted', t, c, header.getAttribute('aria-sort'), rows.join(' '));
      }
      table.tHead.rows[0].cells[0].querySelector('button').click(); // by the first column again
    });
  });
  say('done');
});
</script>
END
options=(--headless=new --no-sandbox --disable-gpu --hide-scrollbars
  --disable-background-networking --allow-file-access-from-files
  --user-data-dir="$scratch/profile" '--window-size=1400,900'
  --enable-logging=stderr --virtual-time-budget=5000 --dump-dom)
[ "$scheme" = light ] || options+=(--blink-settings=preferredColorScheme=0)
HOME=$scratch timeout 120 chromium "${options[@]}" "file://$scratch/frame.html" \
  >"$scratch/dom" 2>"$scratch/log"
sed -n '/<pre id="said">/,/<\/pre>/p' "$scratch/dom" |
  sed 's/.*<pre id="said">//; s/<\/pre>.*//; /^$/d'
sed -n 's/.*CONSOLE[^]]*] /console\t/p' "$scratch/log"
