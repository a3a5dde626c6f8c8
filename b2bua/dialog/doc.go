// Package dialog holds the rules of RFC 3261 section 12 as pure functions on a
// leg's record and on raw header text: local tags, CSeq numbers, the route
// set, and the addresses and numbers that are carried from one leg to the
// other. It does no I/O and reads no clock.
//
// Header values are taken and given back as they stand on the wire, without
// the header's name: what a function does not have to change keeps its bytes.
package dialog
