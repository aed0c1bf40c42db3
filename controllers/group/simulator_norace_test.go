// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

//go:build !race

package group

// simDefault is how many schedules are run.
const simDefault = 20000
