// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package contract holds an implementation of Codis to what was recorded from, and measured on, the real one.
//
// The suite starts real processes on loopback addresses. With CODIS_RELEASE=<dir> in the environment it runs the
// binaries of that directory (codis-dashboard, codis-proxy, codis-fe, codis-server, redis-sentinel); without it, it
// builds and runs test/standin. Both have to pass the same tests: the real binaries define what is true, and the
// stand-in is only worth as much as it is wrong in the same ways.
//
// It owns no model of Codis of its own and refuses to be lenient where it is not sure: what depends on timing is
// said to, test by test, and everything else is compared exactly.
package contract
