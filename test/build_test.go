//go:build !compare

package test

var buildFlags = []string{"-race"}
