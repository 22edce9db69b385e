#pragma once

// The headers behind formats/list.inc, one line per family.
#include "formats/float.h"
#include "formats/ggml_legacy.h"
#include "formats/kquant.h"
#include "formats/kquant_signed.h"
