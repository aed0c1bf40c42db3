// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

//go:build race

package group

// simDefault is how many schedules are run. The race detector makes each take ten
// times as long; `make simulate` runs without it.
const simDefault = 1000
