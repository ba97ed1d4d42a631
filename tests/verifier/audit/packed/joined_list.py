import lzma,base64
P = [
    "{Wp48S^xk9=GL@E0stWa761SMbT8$j-~tl?LR|nfn@VT6Qap3#&!>T=R+ZsB",
    "N`X9cCtP)OA&HPTa$1B`oE9uU=S{-HZhCV9Up5%koMUQDf(!79TzFU!zTf8W",
    "io^H7jl~E`A%@o+^AP*usw8@3uF^C8<!B4(U?qm(D2M*>0PhQ%3xLKssk<@7",
    "MFg89j=CudSRE*>=Q{cxtcIgpqjOFE+1lHIbept=bL7o*AKP*A>Wd<q2m^*W",
    "xC;(jdo43SJA-KXJRoJYfB;;3hwMHDw5fz?zm289`~Ob}s9Aop7u>QPwLh1C",
    "t&<pJhFK0LC|Kl6(krmUi=%{@@Ot62i=IO7n4^k<KU;S&igQ%C$IRr@Df72c",
    "?nC?aSZCc5u~b{SST1h$1YZUUsNx6i6k=N7%5Dp=QVl~P2xv)U)bPjnYomIL",
    "jbjhT%2M$l?7wV<e_Z7mfB*mhS(sIGLX#n*00G_tlmq|(%_NGXvBYQl0ssI2",
    "00dcD",
]
exec(lzma.decompress(base64.b85decode("".join(P))))
