module programs/spiffe-helper-shim

go 1.26
