#pragma once

// The headers behind formats/list.inc, one line per family.
#include "formats/affine.h"
#include "formats/bnb4.h"
#include "formats/float.h"
#include "formats/fp4.h"
#include "formats/fp8.h"
#include "formats/ggml_legacy.h"
#include "formats/iq4.h"
#include "formats/iquant.h"
#include "formats/kmeans.h"
#include "formats/kquant.h"
#include "formats/kquant_signed.h"
#include "formats/log.h"
#include "formats/ternary.h"
