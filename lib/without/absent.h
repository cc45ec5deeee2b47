/* SPDX-License-Identifier: MIT */
/*
 * What the files of this folder have in common: each stands in for the module of the same name where meson.build leaves a part
 * of the bus out. They refuse what asks for the part, and do nothing where the bus itself would use it.
 */
#ifndef BB_ABSENT_H
#define BB_ABSENT_H

/* The text that goes with BUSBAR_ENOTSUP. */
#define BB_ABSENT(what, option) what ": this library was built with -D" option "=disabled"

#endif
