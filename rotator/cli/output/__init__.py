"""What commands show: from fields to lines and tables, one file for each subject. No sentence is taken apart again."""
