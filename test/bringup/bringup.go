// Package bringup tests `kubernaut env up` as its users meet it: the program
// itself, brought up for real, killed, called again, and timed.
package bringup
