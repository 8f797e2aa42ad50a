module programs/pause

go 1.26
