/// FAIRWAY_CHECK for the engine: the kernels' own, so that there is one.
#pragma once

#include "kernels/check.h"
