import lzma as L,base64 as B,linecache as C
S=L.decompress(B.b85decode("{Wp48S^xk9=GL@E0stWa761SMbT8$j-~tl?LR|nfn@VT6Qap3#&!>T=R+ZsBN`X9cCtP)OA&HPTa$1B`oE9uU=S{-HZhCV9Up5%koMUQDf(!79TzFU!zTf8Wio^H7jl~E`A%@o+^AP*usw8@3uF^C8<!B4(U?qm(D2M*>0PhQ%3xLKssk<@7MFg89j=CudSRE*>=Q{cxtcIgpqjOFE+1lHIbept=bL7o*AKP*A>Wd<q2m^*WxC;(jdo43SJA-KXJRoJYfB;;3hwMHDw5fz?zm289`~Ob}s9Aop7u>QPwLh1Ct&<pJhFK0LC|Kl6(krmUi=%{@@Ot62i=IO7n4^k<KU;S&igQ%C$IRr@Df72c?nC?aSZCc5u~b{SST1h$1YZUUsNx6i6k=N7%5Dp=QVl~P2xv)U)bPjnYomILjbjhT%2M$l?7wV<e_Z7mfB*mhS(sIGLX#n*00G_tlmq|(%_NGXvBYQl0ssI200dcD")).decode()
F="<packed>"
C.cache[F]=(len(S),None,S.splitlines(True),F)
exec(compile(S,F,'exec'))
