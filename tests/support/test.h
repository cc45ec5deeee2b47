/* SPDX-License-Identifier: MIT */
/* What every test program includes first: cmocka with the headers it needs. */
#ifndef BUSBAR_TEST_H
#define BUSBAR_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#endif
