/* The scan as a machine with SSE2, but without AVX2, runs it. */
#define __builtin_cpu_supports(feature) 0
#include "base/json_scan.c"

#include "json_scan_cases.h"
