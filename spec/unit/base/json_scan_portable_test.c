/* The scan as a machine without SSE2 compiles it. */
#undef __SSE2__
#include "base/json_scan.c"

#include "json_scan_cases.h"
