#!/usr/bin/env python3
"""Writes unicode_data.c: the general category of every code point, from the PyPI package unicodedata2.

  pip install --target OLD unicodedata2==15.0.0   (and 15.1.0, 16.0.0: one folder for each version)
  python3.11 lib/text/unicode_data.py OLD... > lib/text/unicode_data.c

The last folder is the version of the table. The others, and Python's own data, which must be those of
Unicode 14.0, say which code points are newer than that. 16.0 is the version of the regular
expressions in Hugging Face's library.
"""
import subprocess
import sys
import unicodedata

NAMES = ('Cn Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co').split()
READ = """
import sys; sys.path.insert(0, sys.argv[1]); import unicodedata2 as u
print(u.unidata_version, *(u.category(chr(c)) for c in range(0x110000)))
"""


def categories(folder):
    out = subprocess.run([sys.executable, '-c', READ, folder], capture_output=True, text=True, check=True)
    version, *names = out.stdout.split()
    return version, names


def number(version):
    major, minor, _ = version.split('.')
    return int(major) * 100 + int(minor)


assert unicodedata.unidata_version == '14.0.0'
tables = [('14.0.0', [unicodedata.category(chr(c)) for c in range(0x110000)])] + [categories(f) for f in sys.argv[1:]]
version, table = tables[-1]
starts = [c for c in range(0x110000) if c == 0 or table[c] != table[c - 1]]
added = [0] * 0x110000
for name, names in reversed(tables):
    for c in range(0x110000):
        if names[c] != 'Cn' and table[c] != 'Cn':
            added[c] = number(name)
newer = []
for c in range(0x110000):
    if added[c] <= 1400:
        continue
    if newer and newer[-1][1] == c - 1 and newer[-1][2] == added[c] and table[c] == table[c - 1]:
        newer[-1][1] = c
    else:
        newer.append([c, c, added[c]])


def rows(items):
    line, lines = '   ', []
    for item in items:
        if len(line) + len(item) + 2 > 100:
            lines.append(line)
            line = '   '
        line += ' ' + item + ','
    return '\n'.join(lines + [line])


print('/* Made by unicode_data.py. */\n/* clang-format off */')
print('#include <noken/tokenizer.h>\n#include "text/unicode_data.h"\n')
print(f'const char nk_unicode_version[] = "{version}";\n')
print('/* The first code point of each run of one category << 5 | the category. */')
print(f'const uint32_t nki_unicode_runs[] = {{\n{rows(f"0x{c << 5 | NAMES.index(table[c]):X}" for c in starts)}\n}};')
print('const size_t nki_unicode_n_runs = sizeof nki_unicode_runs / sizeof *nki_unicode_runs;\n')
print('const struct nki_unicode_newer nki_unicode_newer[] = {')
print(rows(f'{{0x{a:X}, 0x{b:X}, {v}}}' for a, b, v in newer))
print('};')
print('const size_t nki_unicode_n_newer = sizeof nki_unicode_newer / sizeof *nki_unicode_newer;')
