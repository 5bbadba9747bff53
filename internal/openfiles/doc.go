// Package openfiles tells how many files, connections included, the process
// holds open and how many it may, on systems that number them.
package openfiles
