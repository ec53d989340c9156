/* Moved: base/utf8.h. */
#include "base/utf8.h"
