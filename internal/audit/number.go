package audit

import (
	"math"
	"strconv"
	"strings"
)

// isDouble says whether a JSON number keeps its value when it is read as an
// IEEE 754 double and written as RFC 8785 writes it.
func isDouble(number string) bool {
	if len(number) <= 15 && !strings.ContainsAny(number, ".eE") {
		return true // an integer below 10^15
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsInf(f, 0) {
		return false
	}
	return decimal(number) == decimal(strconv.FormatFloat(f, 'e', -1, 64))
}

// value is a decimal number in its one normal form: 0.digits × 10^exponent.
type value struct {
	negative bool
	digits   string // neither begins nor ends with 0; empty for zero
	exponent int
}

// decimal reads the text of a valid JSON number.
func decimal(number string) value {
	var v value
	number, v.negative = strings.CutPrefix(number, "-")
	mantissa := number
	if i := strings.IndexAny(number, "eE"); i >= 0 {
		mantissa = number[:i]
		v.exponent, _ = strconv.Atoi(number[i+1:]) // beyond int: ParseFloat has refused it or it is zero
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	v.exponent += len(whole)
	digits := whole + fraction
	trimmed := strings.TrimLeft(digits, "0")
	v.exponent -= len(digits) - len(trimmed)
	v.digits = strings.TrimRight(trimmed, "0")
	if v.digits == "" {
		return value{}
	}
	return v
}
