#include "base/json_scan.h"

#include "json_scan_cases.h"
