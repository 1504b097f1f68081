module github.com/buming/dui/clients/go

go 1.19
