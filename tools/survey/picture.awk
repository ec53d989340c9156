# A picture of nk-plot inside a page. Of the file, elements and attributes that gnuplot's pictures
# have are taken and everything else is refused, so that no file can put a script or an address into
# the page. Names within the picture get a prefix, since those of all pictures are the same. The
# white ground and fonts are left to the page.

function add_names(set, names,   name, i) {
  split(names, name, " ")
  for (i in name) set[name[i]] = 1
}

BEGIN {
  add_names(drawn, "svg g path use text tspan rect circle ellipse line polygon polyline defs")
  add_names(drawn, "clipPath linearGradient stop")
  add_names(left_out, "title desc filter") # of gnuplot itself; boxes behind texts
  add_names(kept, "id class d x y x1 x2 y1 y2 cx cy r rx ry width height points offset transform")
  add_names(kept, "fill fill-opacity stroke stroke-opacity stroke-width stroke-linecap")
  add_names(kept, "stroke-linejoin stroke-dasharray color opacity stop-color stop-opacity")
  add_names(kept, "font-size font-weight font-style text-anchor shape-rendering clip-path")
  add_names(kept, "gradientUnits clipPathUnits")
  add_names(ignored, "viewBox version xmlns xmlns:xlink font-family filter xml:space style")
}

# rgb( 43, 108, 163) and rgb(43,108,163) as #2b6ca3: shorter, and one spelling for the stylesheet.
function colour(value,   part) {
  if (value !~ /^rgb\( *[0-9]+, *[0-9]+, *[0-9]+\)$/) return value
  gsub(/[^0-9,]/, "", value)
  split(value, part, ",")
  return sprintf("#%02x%02x%02x", part[1], part[2], part[3])
}

# An attribute as it stands in the page, or "" where it is left out.
function picture_attribute(file, prefix, name, value) {
  if (name == "font-family") return value ~ /:Bold$/ ? " font-weight=\"bold\"" : ""
  if (name == "xlink:href" || name == "href") {
    if (value !~ /^#[A-Za-z0-9_]+$/)
      fail(file ": address '" valid(value) "': only names within the picture")
    return " href=\"#" prefix substr(value, 2) "\""
  }
  if (name in ignored) return ""
  if (!(name in kept)) fail(file ": attribute '" valid(name) "': not one of nk-plot's")
  if (value ~ /[^-#%(),.:;+ \t\nA-Za-z0-9_]/)
    fail(file ": value of '" name "': not one of nk-plot's")
  gsub(/[ \t\n]+/, " ", value)
  sub(/^ /, "", value)
  sub(/ $/, "", value)
  if (name == "id") value = prefix value
  else if (value ~ /url/ && sub(/^url\(#/, "url(#" prefix, value) == 0)
    fail(file ": address in '" name "'")
  else if (value == "butt" || (name == "stroke-width" && value == "1.00")) return ""
  return " " name "=\"" colour(value) "\""
}

function unescape(s) {
  gsub(/&lt;/, "<", s)
  gsub(/&gt;/, ">", s)
  gsub(/&quot;/, "\"", s)
  gsub(/&apos;|&#39;/, "'", s)
  gsub(/&amp;/, "\\&", s)
  return s
}

# Attributes of a tag behind its name. view: of the picture itself, viewBox.
function picture_attributes(file, prefix, rest,   r, name, value, at) {
  r = ""
  while (match(rest, /^[ \t\r\n]*[A-Za-z][-A-Za-z0-9:]*[ \t\r\n]*=[ \t\r\n]*["']/)) {
    name = substr(rest, 1, RLENGTH - 1)
    value = substr(rest, RLENGTH + 1)
    at = index(value, substr(rest, RLENGTH, 1))
    if (at == 0) break
    gsub(/[ \t\r\n=]/, "", name)
    rest = substr(value, at + 1)
    value = substr(value, 1, at - 1)
    if (name == "viewBox") picture_view = value
    r = r picture_attribute(file, prefix, name, value)
  }
  if (rest !~ /^[ \t\r\n]*\/?$/) fail(file ": malformed SVG")
  return r
}

function picture_ground(attributes) {
  return attributes ~ /fill="#ffffff"/ && attributes ~ / x="0" y="0"/
}

# The beginning of the picture itself.
function put_svg(file, alt) {
  if (picture_view !~ /^[-0-9. ]+$/) fail(file ": no viewBox")
  printf "<svg role=\"img\" aria-label=\"%s\" viewBox=\"%s\">\n", attribute(alt), picture_view
}

# Prints the picture in FILE, an element a record: "NAME ATTRIBUTES>TEXT". within[1..depth] are the
# elements around it, open[1..n_open] groups without content so far, which are left out if none
# comes.
function picture(file, prefix, alt,
                 record, at, tag, inside, name, closes, skip, open, n_open, attributes, within,
                 depth, n, separator, code) {
  separator = RS
  RS = "<"
  skip = ""
  n = n_open = depth = 0
  while ((code = (getline record < file)) > 0) {
    at = index(record, ">")
    if (at == 0) {
      if (record ~ /[^ \t\r\n]/) fail(file ": malformed SVG")
      continue
    }
    tag = substr(record, 1, at - 1)
    inside = substr(record, at + 1)
    if (tag ~ /^[?]xml / || tag ~ /^!--/) continue
    closes = sub(/^\//, "", tag)
    if (!match(tag, /^[A-Za-z]+/)) fail(file ": malformed SVG")
    name = substr(tag, 1, RLENGTH)
    tag = substr(tag, RLENGTH + 1)
    if (skip != "") {
      if (closes && name == skip) skip = ""
    } else if (name in left_out) {
      if (tag !~ /\/$/) skip = name
    } else if (!(name in drawn)) fail(file ": element '" name "': not one of nk-plot's")
    else if (closes) {
      if (depth < 1 || within[depth--] != name) fail(file ": malformed SVG")
      if (n_open > 0) n_open--
      else printf("</%s>%s", name, name ~ /^(g|defs|svg)$/ ? "\n" : "")
    } else {
      if ((depth == 0) != (name == "svg")) fail(file ": not an SVG picture")
      n++
      attributes = picture_attributes(file, prefix, tag)
      if (tag !~ /\/$/) within[++depth] = name
      if (name == "svg") put_svg(file, alt)
      else if (name == "g" && tag !~ /\/$/) open[++n_open] = attributes
      else if (name != "rect" || !picture_ground(attributes)) {
        for (at = 1; at <= n_open; at++) print "<g" open[at] ">"
        n_open = 0
        printf("<%s%s%s", name, attributes, tag ~ /\/$/ ? "/>" : ">")
        printf("%s", name ~ /^(text|tspan)$/ ? attribute(unescape(inside)) : "\n")
      }
    }
  }
  RS = separator
  close(file)
  if (code < 0) fail(file ": cannot be read")
  if (n == 0 || depth > 0) fail(file ": not an SVG picture")
}
