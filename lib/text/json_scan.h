/* Moved: base/json_scan.h. */
#include "base/json_scan.h"
